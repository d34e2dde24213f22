"""
A script that gives an event for each line of its input, and ends with 1 if any is left:
``python script.py < orders.txt``.
"""

import sys

from sendoff import Datadog, Dispatcher, Freshpaint, bind
from sendoff.integrations.script import Script

# It sends from a thread of its own while the script goes on.
dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env(), blocking=True)

with Script(dispatcher, timeout=30) as script, bind(user_id="warehouse"):
    for line in sys.stdin:
        dispatcher.track("order.counted", properties={"order": line.strip()})

sys.exit(0 if script.complete else 1)
