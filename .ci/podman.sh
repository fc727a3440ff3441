# shellcheck shell=bash
# Sourced by benchmarks that compare with podman.

# start_podman FOLDER: a podman of its own, which answers at FOLDER/podman.sock and keeps everything in FOLDER; its process is
# $podman_service. runc and these limits are what works without a service manager, and in a container.
start_podman() {
    local folder=$1
    cat >"$folder/containers.conf" <<-CONF
	[containers]
	default_ulimits = ["nofile=1024:1024", "nproc=10000:10000"]
	[engine]
	runtime = "runc"
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	CONF
    CONTAINERS_CONF=$folder/containers.conf env -u CONTAINER_HOST podman --root "$folder/podman" --runroot "$folder/podman-run" \
        system service --time 0 "unix://$folder/podman.sock" >"$folder/podman.log" 2>&1 &
    # shellcheck disable=SC2034 # for whoever sources this, to end it
    podman_service=$!
    for _ in $(seq 100); do
        curl -fs --max-time 5 --unix-socket "$folder/podman.sock" http://localhost/_ping >/dev/null 2>&1 && return
        sleep 0.2
    done
    echo "podman does not answer:" >&2
    tail -n 5 "$folder/podman.log" >&2
    return 1
}
