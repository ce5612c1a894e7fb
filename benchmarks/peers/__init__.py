"""What SyncMaster is compared with. One file per engine; each says which of its documentation's recommendations it follows."""
