// probe tells, as JSON, what a container lets its root do. It changes nothing: files are opened, but neither read
// nor written (reading /sys/class/zram-control/hot_add makes a device), and system calls get arguments that no
// kernel accepts.
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// What is of a process, or of a network namespace that may be another one.
var passing = regexp.MustCompile(`^/proc/(\d+|self|thread-self)(/|$)|^/proc/sys/net/|^/sys/.*/net/|^/sys/module/`)

type report struct {
	Status   map[string]string // of /proc/self/status
	Mounts   []string          // lines of /proc/self/mountinfo
	Spaces   map[string]string // namespaces, by their kinds
	Readable []string          // files of /proc and /sys that can be opened for reading
	Writable []string          // those that can be opened for writing
	Devices  []string          // in /dev, with numbers
	Calls    map[string]string // system calls -> how they failed
	Umask    int
	Attr     string          // the profile of AppArmor or SELinux
	Volumes  map[string]bool // the paths that it was called with -> whether they can be opened for writing
	Pids     string          // the control group's pids.max
	Ping     string          // ping_group_range
	Shm      uint64          // size of /dev/shm in bytes
}

func main() {
	found := report{Status: map[string]string{}, Spaces: map[string]string{}, Volumes: map[string]bool{}}
	for _, line := range lines("/proc/self/status") {
		key, value, _ := strings.Cut(line, ":")
		found.Status[key] = strings.TrimSpace(value)
	}
	for _, path := range []string{"/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"} {
		found.Pids += lines(path)[0]
	}
	found.Ping = strings.Join(strings.Fields(lines("/proc/sys/net/ipv4/ping_group_range")[0]), " ")
	var shm unix.Statfs_t
	unix.Statfs("/dev/shm", &shm)
	found.Shm = shm.Blocks * uint64(shm.Bsize)
	found.Mounts = lines("/proc/self/mountinfo")
	entries, _ := os.ReadDir("/proc/self/ns")
	for _, entry := range entries {
		found.Spaces[entry.Name()], _ = os.Readlink("/proc/self/ns/" + entry.Name())
	}
	for _, root := range []string{"/proc", "/sys"} {
		filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if passing.MatchString(path) {
				return skip(entry)
			}
			// What is masked is /dev/null, or a directory that is empty.
			if err == nil && entry.Type().IsRegular() {
				if opens(path, unix.O_RDONLY) {
					found.Readable = append(found.Readable, path)
				}
				if opens(path, unix.O_WRONLY) {
					found.Writable = append(found.Writable, path)
				}
			}
			return nil
		})
	}
	filepath.WalkDir("/dev", func(path string, entry fs.DirEntry, err error) error {
		var stat unix.Stat_t
		if err == nil && entry.Type()&fs.ModeDevice != 0 && unix.Lstat(path, &stat) == nil {
			major, minor := stat.Rdev>>8&0xfff, stat.Rdev&0xff
			found.Devices = append(found.Devices, fmt.Sprintf("%s %d:%d %o", path, major, minor, stat.Mode&0o777))
		}
		return nil
	})
	found.Calls = calls()
	found.Umask = unix.Umask(0)
	attr, _ := os.ReadFile("/proc/self/attr/current")
	found.Attr = strings.Trim(string(attr), "\x00\n")
	for _, path := range os.Args[1:] {
		found.Volumes[path] = opens(path, unix.O_WRONLY)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

func lines(path string) []string {
	content, _ := os.ReadFile(path)
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func skip(entry fs.DirEntry) error {
	if entry != nil && entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func opens(path string, mode int) bool {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// bad is no address, no descriptor, no process and no command.
const bad = ^uintptr(0)

func calls() map[string]string {
	numbers := map[string]uintptr{
		"acct": unix.SYS_ACCT, "add_key": unix.SYS_ADD_KEY, "adjtimex": unix.SYS_ADJTIMEX,
		"delete_module": unix.SYS_DELETE_MODULE, "fanotify_init": unix.SYS_FANOTIFY_INIT,
		"get_mempolicy": unix.SYS_GET_MEMPOLICY, "init_module": unix.SYS_INIT_MODULE,
		"io_setup": unix.SYS_IO_SETUP, "kexec_load": unix.SYS_KEXEC_LOAD, "keyctl": unix.SYS_KEYCTL,
		"lookup_dcookie": unix.SYS_LOOKUP_DCOOKIE, "mbind": unix.SYS_MBIND,
		"migrate_pages": unix.SYS_MIGRATE_PAGES, "mount": unix.SYS_MOUNT, "move_pages": unix.SYS_MOVE_PAGES,
		"name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "personality": unix.SYS_PERSONALITY,
		"pivot_root": unix.SYS_PIVOT_ROOT, "ptrace": unix.SYS_PTRACE, "quotactl": unix.SYS_QUOTACTL,
		"reboot": unix.SYS_REBOOT, "request_key": unix.SYS_REQUEST_KEY,
		"set_mempolicy": unix.SYS_SET_MEMPOLICY, "setns": unix.SYS_SETNS,
		"settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME,
		"swapon": unix.SYS_SWAPON, "syslog": unix.SYS_SYSLOG, "umount2": unix.SYS_UMOUNT2,
		"unshare": unix.SYS_UNSHARE, "process_vm_readv": unix.SYS_PROCESS_VM_READV,
		"process_vm_writev": unix.SYS_PROCESS_VM_WRITEV, "kcmp": unix.SYS_KCMP,
		"finit_module": unix.SYS_FINIT_MODULE, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD,
		"bpf": unix.SYS_BPF, "userfaultfd": unix.SYS_USERFAULTFD, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER,
		"open_tree": unix.SYS_OPEN_TREE, "move_mount": unix.SYS_MOVE_MOUNT, "fsopen": unix.SYS_FSOPEN,
		"fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT, "fspick": unix.SYS_FSPICK,
		"clone3": unix.SYS_CLONE3, "pidfd_getfd": unix.SYS_PIDFD_GETFD,
		"process_madvise": unix.SYS_PROCESS_MADVISE, "mount_setattr": unix.SYS_MOUNT_SETATTR,
		"quotactl_fd": unix.SYS_QUOTACTL_FD, "memfd_secret": unix.SYS_MEMFD_SECRET,
		"process_mrelease":        unix.SYS_PROCESS_MRELEASE,
		"set_mempolicy_home_node": unix.SYS_SET_MEMPOLICY_HOME_NODE,
	}
	results := map[string]string{}
	for name, number := range numbers {
		_, _, errno := unix.RawSyscall6(number, bad, bad, bad, bad, bad, bad)
		results[name] = errno.Error()
	}
	// Those whose arguments decide: kinds of sockets, namespaces, and what a terminal can be made to read.
	for name, family := range map[string]int{"AF_ALG": 38, "AF_VSOCK": 40, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_KEY": 15} {
		results["socket "+name] = "no error"
		if fd, err := unix.Socket(family, unix.SOCK_RAW, 0); err == nil {
			unix.Close(fd)
		} else {
			results["socket "+name] = err.Error()
		}
	}
	for name, kind := range map[string]int{"icmp": unix.SOCK_DGRAM, "raw": unix.SOCK_RAW} {
		results["socket "+name] = "no error"
		if fd, err := unix.Socket(unix.AF_INET, kind, unix.IPPROTO_ICMP); err == nil {
			unix.Close(fd)
		} else {
			results["socket "+name] = err.Error()
		}
	}
	for name, flag := range map[string]uintptr{"user": 0x10000000, "net": 0x40000000, "cgroup": 0x02000000} {
		_, _, errno := unix.RawSyscall(unix.SYS_UNSHARE, flag, 0, 0)
		results["unshare "+name] = errno.Error()
	}
	for name, value := range map[string]uintptr{"uname26": 0x0020000, "no randomization": 0x0040000} {
		_, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, value, 0, 0)
		results["personality "+name] = errno.Error()
	}
	return results
}
