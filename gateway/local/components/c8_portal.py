"""C8 Portal: shows people what changed, so it receives every update, over HTTP."""

from gateway.local.components.base import main
from gateway.local.components.webhook import webhook

if __name__ == "__main__":
    main("c8-portal", webhook)
