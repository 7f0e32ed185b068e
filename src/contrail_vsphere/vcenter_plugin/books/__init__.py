"""What the plugin keeps between passes: port records and resting VLANs, DVPorts as last read, who refers to whom."""
