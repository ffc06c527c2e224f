#!/usr/bin/env bash
# Runs whole what scripts/test.sh samples: a kill at every journal record and at 20 random moments of an install.
# Takes about an hour on two cores.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ZERO711_SOAK=1
exec bash "$here/scripts/test.sh" kill
