"""The contender: an ordinary quixstreams application that counts the events of each account in its state.

It runs in an environment of its own, which has quixstreams and not this package. Default settings; the state has a
changelog, as it does by default.
"""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application


def count(event: dict[str, Any], state: Any) -> None:
    """One event more of the account that is the record's key."""
    state.set("events", state.get("events", 0) + 1)


if __name__ == "__main__":
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        state_dir=os.environ["BENCH_DATA"],
        loglevel="WARNING",
    )
    events = app.topic(os.environ["BENCH_TOPIC"], key_deserializer="str", value_deserializer="json")
    app.dataframe(events).update(count, stateful=True)
    app.run()
