#!/bin/sh
# Becomes a systemd of its own, with a root in memory that has nothing of this machine's but /usr and the code.
#
# Nothing that a unit does reaches this machine's files: what is mounted from there is read-only, and after pivot_root
# nothing else can be named. systemd.py starts it.
set -eu
root=$1 code=$2 python=$3 packages=$4 etc=$5

if [ $$ != 1 ]; then
    # In namespaces and a cgroup of its own; when it has ended, the cgroup goes, too.
    if [ "${IN_MOUNTS:-}" != yes ]; then
        IN_MOUNTS=yes exec unshare --mount --propagation private sh "$0" "$@"
    fi
    mount -t cgroup2 cgroup2 "$root"
    group="$root/taskapi-test-$$"
    mkdir "$group"
    sh -c 'echo $$ > "$1/cgroup.procs"; shift; exec unshare "$@"' - "$group" \
        --mount --propagation private --pid --fork --kill-child --cgroup --uts --ipc sh "$0" "$@" &
    trap 'kill -9 $(cat /proc/$!/task/$!/children)' TERM
    # Once for the signal, and once for the end.
    wait $! || wait $! || true
    while [ -e "$group" ]; do
        find "$group" -depth -type d -exec rmdir {} + || sleep 0.1
    done
    exit
fi

umount "$root"
mount -t tmpfs -o mode=755 taskapi-root "$root"
cd "$root"

from() {  # from SOURCE FOLDER: the same files, read-only
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}

mkdir -p dev etc/systemd/system home proc root run srv sys tmp var/tmp var/lib var/log old
chmod 1777 tmp var/tmp
for link in bin sbin lib lib32 lib64 libx32; do
    [ ! -L "/$link" ] || cp -P "/$link" "$link"
done
from /usr usr
from "$python" opt/python
mkdir -p opt/taskapi
cp -R "$code/." opt/taskapi
from "$packages" opt/taskapi/.venv/site-packages

mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null zero full random urandom tty; do
    cp -a "/dev/$device" "dev/$device"
    chmod 666 "dev/$device"
done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s ../run var/run
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run

printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/:/usr/sbin/nologin' > etc/passwd
printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' > etc/group
printf '%s\n' 'passwd: files systemd' 'group: files systemd' 'hosts: files' > etc/nsswitch.conf
printf '%s\n' '127.0.0.1 localhost' '::1 localhost' > etc/hosts
echo taskapi-test > etc/hostname
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
[ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache etc
cp -R "$etc/." etc

pivot_root . old
cd /
umount -l old
rmdir old
[ "$(stat -f -c %T /)" = tmpfs ] && [ ! -e /old ] && [ ! -w /usr ] || { echo "the root is not the one in memory" >&2; exit 1; }

# Only units that are given: those of the distribution would set up a whole machine.
export container=taskapi-test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec /lib/systemd/systemd --system --unit=test.target --show-status=no --log-target=journal-or-kmsg
