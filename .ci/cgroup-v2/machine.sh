# shellcheck shell=bash
# machine.sh: how the virtual machine of cgroup-v2.sh is started. To be sourced by it.
#
# machine_kind     what runs it here: kvm, uml or emulated
# machine_kernel   the packages of its kernel, for its disk (kvm and emulated only)
# machine_minutes  how long its tests may take
# machine_prepare  takes the kernel out of, or puts its modules into, the root file system of its disk
# machine_start    starts it with its disk and that of the tests; what its console shows goes to standard output

# User-mode Linux: a kernel that is an ordinary program of this machine (package user-mode-linux).
readonly uml=/usr/bin/linux.uml uml_modules=/usr/lib/uml/modules

machine_kind() {
    # Without these the processor does not run a foreign kernel by itself, whatever else offers a /dev/kvm.
    if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
        echo kvm
    elif [ -x "$uml" ]; then
        echo uml
    else
        echo emulated
    fi
}

machine_kernel() {
    [ "$1" = uml ] || echo ,linux-image-cloud-amd64,initramfs-tools,zstd
}

machine_minutes() {
    case $1 in
    kvm) echo 20 ;;
    uml) echo 60 ;;
    *) echo 240 ;;
    esac
}

# machine_prepare KIND ROOT FOLDER
machine_prepare() {
    if [ "$1" = uml ]; then
        mkdir -p "$2/usr/lib/modules"
        cp -r "$uml_modules"/* "$2/usr/lib/modules/"
    else
        cp "$2"/boot/vmlinuz-* "$3/kernel"
        cp "$2"/boot/initrd.img-* "$3/initrd"
    fi
}

# machine_start KIND MINUTES MEMORY FOLDER DISK TESTS: memory in MiB. Neither disk is written to.
machine_start() {
    local kind=$1 memory=$3 folder=$4 disk=$5 tests=$6
    local within=(timeout --kill-after 30 "$(($2 * 60))")
    local options='rw quiet loglevel=3 panic=-1 systemd.show_status=no systemd.mask=e2scrub_reap.service systemd.unified_cgroup_hierarchy=1'
    local accelerator=(-accel kvm -cpu host)
    if [ "$kind" = uml ]; then
        rm -rf "$folder/written" "$folder/uml"
        mkdir "$folder/uml"
        # shellcheck disable=SC2086 # each option is a word
        TMPDIR=$(memory_folder "$memory" "$folder") "${within[@]}" "$uml" "mem=${memory}M" "uml_dir=$folder/uml" root=/dev/ubda $options \
            con=none con0=null,fd:1 "ubd0=$folder/written,$disk" "ubd1r=$tests"
        rm -f "$folder/written"
        return
    fi
    [ "$kind" = kvm ] || accelerator=(-accel "tcg,thread=multi" -cpu max)
    "${within[@]}" qemu-system-x86_64 "${accelerator[@]}" -smp 2 -m "$memory" -nodefaults -display none -no-reboot -serial stdio \
        -kernel "$folder/kernel" -initrd "$folder/initrd" -append "root=/dev/vda console=ttyS0 $options" \
        -drive "file=$disk,if=virtio,format=raw,snapshot=on,cache=unsafe" \
        -drive "file=$tests,if=virtio,format=raw,readonly=on" -device virtio-rng-pci
}

# Where user-mode Linux keeps its memory, a file: in memory if there is room for it and programs may be run from there (containers often have
# little of either), else in FOLDER.
memory_folder() {
    local shared=/dev/shm
    if [ "$(stat -f -c %T "$shared")" = tmpfs ] && ! findmnt -no OPTIONS "$shared" | grep -qw noexec &&
        [ "$(df --output=avail -m "$shared" | tail -n 1)" -gt "$1" ]; then
        echo "$shared"
    else
        echo "$2"
    fi
}
