// The token: kept for this tab alone, and sent in the header alone.

const KEY = "falcon-mnist token";

// A link from the terminal carries the token in its fragment, which no browser sends to a server.
export function takeTokenFromLink() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found) {
    keepToken(decodeURIComponent(found[1]));
    history.replaceState(null, "", "#/");
  }
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);
export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const token = () => sessionStorage.getItem(KEY);
export const authorization = () => `Bearer ${token()}`;
