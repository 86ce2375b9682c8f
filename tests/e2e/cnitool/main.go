// cnitool calls a network's plugins through libcni, the library that the runtimes call them with.
//
//	cnitool add|check|del|version NETWORK NETNS
//
// It is told the rest as the cnitool of the CNI project is, in the environment: NETCONFPATH,
// CNI_PATH, CNI_IFNAME, CNI_ARGS (K=V;K=V) and CAP_ARGS (a JSON object). Unlike that one it takes
// CNI_CONTAINERID too, since its own ID is a hash of NETNS, and a container may have several. libcni
// 1.1.2, which Debian has, knows no GC and no STATUS.
package main

import (
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(verb, name, netns string) error {
	network, err := libcni.LoadConfList(getenv("NETCONFPATH", "/etc/cni/net.d"), name)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("cnitool-%x", sha512.Sum512([]byte(netns)))[:28]
	attachment := &libcni.RuntimeConf{
		ContainerID: getenv("CNI_CONTAINERID", id), NetNS: netns, IfName: getenv("CNI_IFNAME", "eth0"),
	}
	for _, pair := range strings.Split(os.Getenv("CNI_ARGS"), ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			attachment.Args = append(attachment.Args, [2]string{key, value})
		}
	}
	if err := json.Unmarshal([]byte(getenv("CAP_ARGS", "{}")), &attachment.CapabilityArgs); err != nil {
		return err
	}
	ctx, plugins := context.Background(), libcni.NewCNIConfig(strings.Split(os.Getenv("CNI_PATH"), ":"), nil)
	switch verb {
	case "add":
		result, err := plugins.AddNetworkList(ctx, network, attachment)
		if err != nil {
			return err
		}
		return result.Print()
	case "check":
		return plugins.CheckNetworkList(ctx, network, attachment)
	case "del":
		return plugins.DelNetworkList(ctx, network, attachment)
	case "version":
		capabilities, err := plugins.ValidateNetworkList(ctx, network)
		fmt.Println(strings.Join(capabilities, "\n"))
		return err
	}
	return fmt.Errorf("unknown verb %q", verb)
}

func getenv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
