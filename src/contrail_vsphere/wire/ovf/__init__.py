"""The OVF wire: descriptors, manifests, signatures and guest environments, once for product and simulator alike."""
