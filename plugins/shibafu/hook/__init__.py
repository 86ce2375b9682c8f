"""shibafu-hook: networks for the containers of any OCI runtime, by the hooks of its runtime specification."""
