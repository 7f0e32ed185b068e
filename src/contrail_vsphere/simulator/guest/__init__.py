"""What runs inside simulated VMs: VMware Tools, and in a ContrailVM the real first-boot program and a VRouterAgent."""
