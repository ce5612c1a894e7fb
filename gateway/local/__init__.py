"""The local stack: real nats-server and real Kafka as child processes on loopback, and what they need (Java, jars, ports, secrets).

Nothing is simulated. What composes these parts into `syncmaster up` is in gateway/cli.
"""
