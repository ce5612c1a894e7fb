"""What the gateway can do, as plain functions from a context and a question to an answer. HTTP is only one way to call them: `routes/`."""
