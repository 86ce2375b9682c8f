// What the reference's specs call in place of its functions: the executable of shibafu, which does the rest.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

func cmdAdd(args *skel.CmdArgs) error   { return call("ADD", args) }
func cmdCheck(args *skel.CmdArgs) error { return call("CHECK", args) }
func cmdDel(args *skel.CmdArgs) error   { return call("DEL", args) }

// useBus makes the specs' message bus the one that firewalld is looked for on.
func useBus(address string) { os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address) }

// call runs the executable in the network namespace that the spec has entered, with what its function would get.
func call(command string, args *skel.CmdArgs) error {
	// A child has the namespace of the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var answer bytes.Buffer
	plugin := exec.Command(os.Getenv("SHIBAFU_PLUGIN"))
	plugin.Stdin, plugin.Stdout, plugin.Stderr = bytes.NewReader(args.StdinData), &answer, os.Stderr
	plugin.Env = append(os.Environ(),
		"CNI_COMMAND="+command,
		"CNI_CONTAINERID="+args.ContainerID,
		"CNI_NETNS="+args.Netns,
		"CNI_IFNAME="+args.IfName,
		"CNI_ARGS="+args.Args,
		"CNI_PATH="+os.Getenv("PATH"),
		// Specs that have a single namespace are not asked by the reference's functions whose it is, either.
		"CNI_NETNS_OVERRIDE=1")
	if err := plugin.Run(); err != nil {
		refusal := types.Error{}
		if json.Unmarshal(answer.Bytes(), &refusal) != nil {
			return fmt.Errorf("%w: %s", err, answer.String())
		}
		return errors.New(refusal.Msg)
	}
	_, err := os.Stdout.Write(answer.Bytes())
	return err
}
