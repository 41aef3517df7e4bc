"""How connections spread over the processes that listen at one socket."""

from __future__ import annotations

from contextlib import ExitStack

from asking import until
from in_process import answer_path, served
from raw_http import Raw, request

from falcon_mnist.server.balance import Balance


def test_connections_that_no_other_process_takes_are_accepted_by_the_one_with_most() -> None:
    counts = [0, 0]  # the other has none
    balance = Balance(counts, 0)
    with served(answer_path, balance=balance) as server, ExitStack() as stack:
        for number in range(20):
            connection = stack.enter_context(Raw(server.addresses[0]))
            connection.send(request("GET", f"/{number:06}"))
            assert connection.status() == 200
            assert balance.ahead()
        many = counts[1] = counts[0]
        assert not balance.ahead()
        stack.close()
        until(lambda: counts[0] == many - 20, "those that have ended are not counted")
