#!/bin/sh
# Puts Headgate with all it needs into one folder, the same bytes whenever it is run:
#
#   SOURCE_DATE_EPOCH=... sh image/assemble.sh TARGET
#
# TARGET must not exist yet. It is a virtual environment of the Python that runs this, without pip,
# with the wheel, the packages of requirements/run.txt, and share/headgate/sbom.cdx.json. Works
# without a container engine; the Dockerfile's first stage is this script.
set -eu
: "${SOURCE_DATE_EPOCH:?seconds since 1970 that stand for the moment of the build}"
export SOURCE_DATE_EPOCH
target=$1
python=${PYTHON:-python3}
sources=$(cd "$(dirname "$0")/.." && pwd)
if [ -e "$target" ]; then
  echo "$target: wanted a folder that does not exist yet" >&2
  exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# install INTO ARGUMENTS...: by the pip that is here, into an environment that has none.
install() {
  into=$1
  shift
  "$python" -m pip --disable-pip-version-check --python "$into/bin/python" install --quiet \
    --no-compile --no-deps "$@"
}

# What builds the wheel stays out of the target.
"$python" -m venv --without-pip "$scratch/build"
install "$scratch/build" --require-hashes -r "$sources/requirements/build.txt"
# A fixed path: it goes into the record of what was installed.
wheels=/tmp/headgate-wheel
rm -rf "$wheels"
(cd "$sources" && "$scratch/build/bin/python" -m hatchling build --target wheel --directory "$wheels")

"$python" -m venv --without-pip "$target"
install "$target" --require-hashes -r "$sources/requirements/run.txt" \
  --report "$scratch/packages.json"
install "$target" --report "$scratch/own.json" "$wheels"/*.whl
rm -rf "$wheels"

mkdir -p "$target/share/headgate"
"$target/bin/python" "$sources/image/sbom.py" "$scratch/own.json" "$scratch/packages.json" \
  > "$target/share/headgate/sbom.cdx.json"
# The root file system is read-only, so byte code is made now; by content, as times would differ.
"$target/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$target/lib"
find "$target" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
