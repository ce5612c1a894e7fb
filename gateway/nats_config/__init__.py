"""The nats-server's configuration, written from `syncmaster.yaml`: who may connect, and publish and subscribe to what.

`server.py` puts the file together from `rights.py` (what each user may do), `credentials.py` (how the server knows it), `accounts.py`
(where it lives) and `notation.py` (how the server writes things). All pure, but for reading secrets. `syncmaster nats-config` prints it.
"""
