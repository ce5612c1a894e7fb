"""The doors for people and tools: HTTP API, status page, CLI, the local stack, the composition of everything."""
