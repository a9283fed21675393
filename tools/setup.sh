#!/bin/sh
# setup.sh - installs the Debian packages that the build needs and this machine lacks; as root, or with sudo.
# Without either it says what to install and fails.
set -u
needed='gcc libc6-dev pkg-config meson ninja-build libpng-dev libjpeg-dev libwebp-dev libkissfft-dev
libutf8proc-dev'
wanted='libdnnl-dev' # fast convolutions; latino builds without

if ! command -v dpkg-query > /dev/null; then
    echo "This is no Debian or Ubuntu. Install the like of these, then build with meson:" $needed $wanted >&2
    command -v meson > /dev/null && command -v ninja > /dev/null && exit 0
    exit 1
fi

missing()
{
    for package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) in
            installed) ;;
            *) echo "$package" ;;
        esac
    done
}

lacking=$(missing $needed $wanted)
[ -z "$lacking" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    root=
elif command -v sudo > /dev/null && { [ -t 0 ] || sudo -n true 2> /dev/null; }; then
    root=sudo
else
    echo "These packages are missing; install them as root:" >&2
    echo "    apt-get install" $lacking >&2
    [ -z "$(missing $needed)" ] && exit 0
    exit 1
fi

echo "installing" $lacking
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
$root apt-get update -q > "$log" 2>&1
for package in $(missing $wanted); do # not every release and processor has it
    $root apt-get install -q -y --no-install-recommends "$package" >> "$log" 2>&1 ||
        echo "no package $package here: slower without"
done
lacking=$(missing $needed)
if [ -n "$lacking" ] && ! $root apt-get install -q -y --no-install-recommends $lacking >> "$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "These packages could not be installed:" $lacking >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"
