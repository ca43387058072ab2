#!/bin/sh
# What the machine of camera.sh runs: the device tests of margay-camera, a core with a camera, then the
# commands of a user with one.
export PATH=/bin
# The root of an initramfs cannot be changed, and a sandbox has one of its own: move to one that can.
if [ ! -e /moved ]; then
    mkdir /new
    mount -t tmpfs -o size=1g,mode=755 tmpfs /new
    for folder in /*; do [ "$folder" = /new ] || cp -a "$folder" /new/; done
    : >/new/moved
    exec switch_root /new /init
fi
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /mod/*; do
    options=
    case $module in
    *vivid.ko) options="n_devs=1 node_types=0x1 num_inputs=1 input_types=0" ;;
    *v4l2loopback.ko) options="devices=2 video_nr=7,8 exclusive_caps=1,1" ;;
    esac
    # shellcheck disable=SC2086
    insmod "$module" $options || echo "FAILED: loading $module"
done

failed=0
# expect CODE TEXT COMMAND…: the command ends with that code and says that text.
expect() {
    code=$1 text=$2
    shift 2
    "$@" >/tmp/said 2>&1
    got=$?
    if [ $got != "$code" ] || ! grep -q "$text" /tmp/said; then
        failed=1
        echo "FAILED: $* ended with $got, not $code, or did not say \"$text\":"
        cat /tmp/said
    else
        echo "ok: $*"
        head -n 12 /tmp/said
    fi
}

export MARGAY_TEST_VIVID=/dev/video0 MARGAY_TEST_LOOPBACK=/dev/video7
export MARGAY_TEST_LOOPBACK_STALLING=/dev/video8
device-tests --test-threads=1 --nocapture || failed=1

ip link set lo up
(cd /repository && promises camera:: --test-threads=1) || failed=1

expect 0 'vivid' margay camera list
expect 0 '"fourcc":"YUYV"' margay camera list --json
expect 0 'measured [0-9]' margay camera probe /dev/video0 --frames 30
expect 0 '"timestamps":"kernel_end_of_frame"' margay camera probe /dev/video0 --frames 30 --format nv12 --json
expect 8 'does not deliver mjpeg; it has' margay camera snap /dev/video0 -o /tmp/photo.jpg
expect 0 'photo.png is 640x' margay camera snap /dev/video0 -o /tmp/photo.png
expect 0 'P N G' sh -c 'head -c 8 /tmp/photo.png | od -c | head -n 1 | sed "s/  */ /g"'
expect 8 'is no camera but' margay camera probe /dev/video7
chmod 660 /dev/video0
expect 8 'usermod -aG video' su visitor -c 'margay camera probe /dev/video0'
expect 8 'there is no /dev/video9' margay camera probe /dev/video9

[ $failed = 0 ] && echo "CAMERA MACHINE: every promise holds"
poweroff -f
