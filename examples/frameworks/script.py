"""Perdure in a plain script: the runtime is open for as long as the block lasts, and what is left goes on next time.

Run it: python script.py o1 o2 o3
"""

from __future__ import annotations

import sys

from orders import fulfill_order

from perdure import Runtime


def main(order_ids: list[str]) -> None:
    with Runtime("orders.duckdb", workflows=[fulfill_order]) as runtime:
        runs = [runtime.start(fulfill_order, {"order_id": order_id, "cents": 4200}) for order_id in order_ids]
        for run in runs:
            print(run.result(timeout="1m")["parcel"])


if __name__ == "__main__":
    main(sys.argv[1:])
