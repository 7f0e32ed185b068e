"""vLCM's System VM REST API (vSphere 9.0 and later): paths, values and errors, once for client and simulator."""
