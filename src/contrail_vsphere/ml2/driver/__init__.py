"""What Neutron's API processes import: they write down what is wanted and never speak to vCenter."""
