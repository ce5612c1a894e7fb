"""Example components of the k8or Orbit topology, each a small process that speaks as a real one would. No part of SyncMaster.

    c8_portal        HTTP webhook, every update                     webhook.py
    c20_chart_store  HTTP webhook, every chart version, in order    webhook.py
    c12_manifestor   takes updates from its JetStream stream        c12_manifestor.py
    c28_kustomize    answers NATS requests                          c28_kustomize.py

What they have in common is in `base.py`, what they keep in `held.py`.
"""
