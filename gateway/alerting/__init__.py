"""From [alerts] to people: which are sent (`gate.py`), by whom (`forwarder.py`), to whom (`receivers.py`), and the last ones (`recent.py`)."""
