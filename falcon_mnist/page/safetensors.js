// Tensors in a safetensors file: name to {shape, values}; float32 alone, as ours are.

export function tensorsIn(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const found = {};
  for (const [name, { shape, data_offsets: [from, to] }] of Object.entries(tensors)) {
    found[name] = { shape, values: new Float32Array(buffer.slice(8 + length + from, 8 + length + to)) };
  }
  return found;
}
