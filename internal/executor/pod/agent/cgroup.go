package main

import (
	"os"
	"strconv"
	"strings"
)

// The container's own cgroup, as runtimes mount it: version 2, or version 1's controllers.
const cgroup = "/sys/fs/cgroup/"

// oomKills gives how many processes the kernel has killed here for want of memory.
func oomKills() int64 {
	for _, file := range []string{"memory.events", "memory/memory.oom_control"} {
		text, err := os.ReadFile(cgroup + file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
				return number(value)
			}
		}
	}
	return 0
}

// memoryLimit gives bytes, or 0.
func memoryLimit() int64 {
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(cgroup + file); err == nil {
			return number(string(text))
		}
	}
	return 0
}

// cpuLimit gives thousandths of a processor, or 0.
func cpuLimit() int64 {
	if text, err := os.ReadFile(cgroup + "cpu.max"); err == nil {
		quota, period, _ := strings.Cut(string(text), " ")
		return share(number(quota), number(period))
	}
	for _, dir := range []string{"cpu/", "cpu,cpuacct/"} {
		quota, err := os.ReadFile(cgroup + dir + "cpu.cfs_quota_us")
		period, err2 := os.ReadFile(cgroup + dir + "cpu.cfs_period_us")
		if err == nil && err2 == nil {
			return share(number(string(quota)), number(string(period)))
		}
	}
	return 0
}

func share(quota, period int64) int64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return quota * 1000 / period
}

// number reads a line; "max", and all else that is none, is 0.
func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
