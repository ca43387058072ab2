#!/bin/sh
# What the machine of deployment_power.sh runs: a local cloud on memory, a core whose write directory is on the disk, and two
# groups that are deployed in turns until the power is cut. It says what it finds at its start, and what it deploys.
export PATH=/bin
[ -e /moved ] || {
    # The kernel cannot exchange the initramfs as a root, which sandboxes need: the system moves to a tmpfs first.
    mount -t proc proc /proc
    mkdir /new && mount -t tmpfs -o size=900m tmpfs /new
    cp -a /bin /lib /lib64 /usr /etc /mod /packages /init /new/ 2>/dev/null
    mkdir -p /new/dev /new/proc /new/sys /new/tmp /new/data /new/run
    touch /new/moved
    exec switch_root /new /init
}
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
for module in /mod/*; do insmod "$module" || echo "FAILED: loading $module"; done
ip link set lo up
mount -t ext4 /dev/vda /data || echo "FAILED: mounting the disk"
echo # The firmware leaves its line unfinished.
life=$(sed 's/.*life=\([0-9]*\).*/\1/' /proc/cmdline)
export RUST_LOG=error

margay demo --dir /tmp/demo --fps 2 >/tmp/demo.out 2>&1 &
until grep -q '^core' /tmp/demo.out; do sleep 0.2; done
demo=/tmp/demo/greengrass
margay model push /packages/int8.tar.gz s3://margay-demo-models/int8.tar.gz --config $demo/config/config.json >/dev/null 2>&1 ||
    echo "FAILED: uploading the second package"
# The demo's own core would be another of the same thing: it stands still, its cloud serves ours.
kill -STOP "$(sed -n 's/^core *pid \([0-9]*\).*/\1/p' /tmp/demo.out)"
mkdir -p /data/config /data/ggc/deployment/group
sed -e 's|"coreThing"|"writeDirectory": "/data/ggc", "coreThing"|' -e 's|/tmp/demo/status.sock|/run/status.sock|' \
    -e 's|"margay": {|"margay": { "deployments": { "healthWindowSeconds": 1 },|' $demo/config/config.json >/tmp/config.json
cp $demo/ggc/deployment/group/group.json /tmp/a.json
sed -e 's|road-signs-1.0.0.tar.gz|int8.tar.gz|' -e 's|"TopK": "3"|"TopK": "2"|' /tmp/a.json >/tmp/b.json
[ -e /data/ggc/deployment/group/group.json ] || cp /tmp/a.json /data/ggc/deployment/group/group.json

deployments=/data/ggc/deployment/deployments
# The group that the record names: A has TopK 3 and the float package, B has TopK 2 and the int8 one.
recorded() {
    one=$(tr -d '\n' <$deployments/active.json | sed 's/"previous".*//')
    case $one in
    *'TopK\": \"3'*road-signs-1.0.0*) echo A ;;
    *'TopK\": \"2'*int8*) echo B ;;
    '') echo none ;;
    *) echo mixed ;;
    esac
}
running() {
    case $(margay status --json --config /tmp/config.json 2>/dev/null) in
    *'"name":"road-signs-int8"'*) echo B ;;
    *'"name":"road-signs"'*) echo A ;;
    *) echo none ;;
    esac
}
[ "$life" = 1 ] || echo "before $(recorded)"
margay run --config /tmp/config.json >/tmp/core.log 2>&1 &
until [ "$(running)" != none ]; do sleep 0.2; done
echo "first $(running)"
while [ -e $deployments/pending.json ]; do sleep 0.2; done
sleep 2
echo "settled $(recorded) $(running), unfinished: $(ls -d $deployments/margay-* /data/ggc/deployment/mlmodel/tmp/* 2>/dev/null | wc -l), models: $(ls /data/ggc/deployment/mlmodel/models | wc -l)"
margay model list --check --config /tmp/config.json >/tmp/list 2>&1 || { echo "FAILED: a package is damaged"; cat /tmp/list; }
echo "deploying"
next=b
while true; do
    margay deploy /tmp/$next.json --wait --config /tmp/config.json >/tmp/deploy.out 2>&1 ||
        { echo "FAILED: deploying $next"; tail -n 5 /tmp/deploy.out; tail -n 5 /tmp/core.log; }
    echo "deployed $next"
    [ $next = b ] && next=a || next=b
done
