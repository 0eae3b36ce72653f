package hardening

import (
	"archive/tar"
	"encoding/hex"
	"path"
	"strings"
)

// programKind gives what the program at the path is good for; "" for most.
func programKind(at string) ProgramKind {
	dir, name := path.Split(at)
	if dir = path.Base(dir); dir != "bin" && dir != "sbin" {
		return ""
	}
	if kind := kindOf(name); kind != "" {
		return kind
	}
	// x86_64-linux-gnu-gcc-14 and python3.13-like names say target and version.
	if _, after, ok := strings.Cut(name, "-linux-gnu-"); ok {
		name = after
	}
	return kindOf(strings.TrimRight(name, "-.0123456789"))
}

func kindOf(name string) ProgramKind {
	switch name {
	case "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "ksh93", "mksh", "posh", "pwsh", "sh", "tcsh", "toybox", "yash", "zsh":
		return Shell
	case "apk", "apt", "apt-get", "aptitude", "conda", "dnf", "dpkg", "gem", "microdnf", "nala", "npm", "npx", "opkg",
		"pacman", "pip", "pipx", "pnpm", "poetry", "rpm", "snap", "tdnf", "uv", "yarn", "yum", "zypper":
		return PackageManager
	case "as", "c++", "cc", "clang", "clang++", "cpp", "g++", "gcc", "gfortran", "go", "javac", "ld", "make", "rustc", "tcc":
		return Compiler
	case "dropbear", "in.telnetd", "proftpd", "rlogind", "sshd", "telnetd", "vsftpd":
		return RemoteAccess
	case "doas", "newgrp", "pkexec", "runuser", "su", "sudo":
		return Privilege
	case "curl", "nc", "nc.openbsd", "nc.traditional", "ncat", "netcat", "nmap", "socat", "ssh", "tcpdump", "telnet", "wget":
		return Network
	}
	return ""
}

// capabilities gives the attribute that holds a file's, as a layer carries it (PAX records
// of tar(5), "SCHILY.xattr.").
func capabilities(header *tar.Header) string {
	const longest = 24 // bytes; linux/capability.h, XATTR_CAPS_SZ_3
	value := header.PAXRecords["SCHILY.xattr.security.capability"]
	return hex.EncodeToString([]byte(value[:min(len(value), longest)]))
}
