#!/bin/busybox sh
# The first process of the guest: the host's files become its root, and the command that the kernel's command line
# names is run there.
export PATH=/bin
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $($b cat /mod/list); do
    $b insmod /mod/$module || $b echo "insmod $module failed"
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro hostroot /lower
$b mount -t tmpfs tmpfs /upper
$b mkdir -p /upper/upper /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /new
$b mount -t proc proc /new/proc
$b mount -t sysfs sys /new/sys
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
for folder in dev/shm run; do
    $b mount -t tmpfs tmpfs /new/$folder
done
$b mount -t bpf bpf /new/sys/fs/bpf
$b mount -t tracefs tracefs /new/sys/kernel/tracing
$b mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$b ip link set lo up
$b mkdir -p /new/run/remora-vm
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro order /new/run/remora-vm
$b chroot /new /bin/bash /run/remora-vm/order.sh
$b echo "remora-vm-status: $?"
$b poweroff -f
