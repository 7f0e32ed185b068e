#!/bin/sh
# On the Fuel master: environments keep what was deployed; deployment_scripts/remove.sh takes it away on a controller.
exit 0
