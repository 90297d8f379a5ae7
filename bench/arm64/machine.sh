#!/usr/bin/env bash
# Puts an arm64 machine's Python and the engines of requirements.txt into the folder `machine` beside this script, for
# qemu-user to run; nothing is installed on this machine. Needs Debian's apt and dpkg, and a pip (PYTHON names its Python).
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
[ -e machine/complete ] && exit 0
for needed in apt-get dpkg /etc/apt/sources.list.d/debian.sources; do
    if ! { command -v "$needed" || [ -r "$needed" ]; } > /dev/null 2>&1; then
        echo "machine.sh takes an arm64 Python from Debian 12 or newer, and this machine has no $needed" >&2
        exit 1
    fi
done

mkdir -p machine/apt/lists/partial machine/apt/archives/partial machine/root machine/engines
: > machine/apt/status
apt=(apt-get -qq
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
    -o "Dir::State=$PWD/machine/apt" -o "Dir::State::status=$PWD/machine/apt/status" -o "Dir::Cache=$PWD/machine/apt"
    -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$PWD/machine/apt/sources")
mkdir -p machine/apt/sources
cp /etc/apt/sources.list.d/debian.sources machine/apt/sources/
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends --download-only python3-minimal libpython3-stdlib libstdc++6 libgomp1
for package in machine/apt/archives/*.deb; do dpkg -x "$package" machine/root; done

found=$(basename "$(readlink machine/root/usr/bin/python3)") # as python3.11
"$python" -m pip --disable-pip-version-check install --quiet --upgrade --no-warn-conflicts --target machine/engines \
    --only-binary=:all: --implementation cp --python-version "${found#python}" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 -r requirements.txt

# onnxruntime asks here which processor it runs on, and would read this machine's answer.
mkdir -p machine/root/proc
cat > machine/root/proc/cpuinfo <<'END'
processor	: 0
BogoMIPS	: 100.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x4
CPU part	: 0xd0b
CPU revision	: 1
END
touch machine/complete
