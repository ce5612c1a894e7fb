"""C20 Chart Store: keeps every version of every chart, in order, over HTTP."""

from gateway.local.components.base import main
from gateway.local.components.webhook import webhook

if __name__ == "__main__":
    main("c20-chart-store", webhook)
