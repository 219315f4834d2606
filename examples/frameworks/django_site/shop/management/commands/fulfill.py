"""Perdure in Django: a management command owns the ledger for as long as it works.

Steps that use models are plain functions: they run in threads, so close_old_connections() of django.db at their begin
gives them a connection that lives.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from orders import fulfill_order

from perdure import Runtime


class Command(BaseCommand):
    help = "Fulfil orders; one that was fulfilled before is not fulfilled again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("order_ids", nargs="+")
        parser.add_argument("--cents", type=int, default=4200)

    def handle(self, *args: Any, order_ids: list[str], cents: int, **options: Any) -> None:
        with Runtime(settings.LEDGER, workflows=[fulfill_order]) as runtime:
            inputs = [{"order_id": order_id, "cents": cents} for order_id in order_ids]
            for run in runtime.start_many(fulfill_order, inputs):
                self.stdout.write(run.result(timeout="1m")["parcel"])
