package pod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod/tree"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
	"plimsoll.dev/plimsoll/internal/fault"
)

// The volumes of every pod. Those in memory that are a folder of the step's follow, one each.
const (
	disk    = "disk"
	secrets = wire.Secrets
)

// plan is what a step's mounts are in a pod.
type plan struct {
	volumes  []corev1.Volume
	mounts   []corev1.VolumeMount // of the step's container
	places   []place
	returned []place // the writable folders, in the order of Job.Returned
}

// place is one mount and where in the volumes it lies.
type place struct {
	executor.Mount
	at   string      // below the folder of volumes
	file bool        // of the machine, not a folder
	mode fs.FileMode // of a folder in memory
}

// plan looks at the step's mounts, and adds the folders in memory that every step has.
func (e *Executor) plan(step executor.Step) (*plan, error) {
	p := &plan{volumes: []corev1.Volume{e.volume(disk, "", e.opt.DiskBytes), e.volume(secrets, corev1.StorageMediumMemory, e.opt.TmpfsBytes)}}
	for _, m := range step.Mounts {
		m.Target = path.Clean(m.Target)
		if err := e.add(p, m, 0o755); err != nil {
			return nil, err
		}
	}
	for target, mode := range map[string]fs.FileMode{"/tmp": 0o777 | fs.ModeSticky, "/run": 0o755, "/dev/shm": 0o777 | fs.ModeSticky} {
		if slices.ContainsFunc(p.places, func(at place) bool { return at.Target == target }) {
			continue
		}
		if err := e.add(p, executor.Mount{Kind: executor.Tmpfs, Target: target}, mode); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.places, func(a, b place) int { return strings.Compare(a.Target, b.Target) })
	for _, at := range p.places {
		volume, sub, _ := strings.Cut(at.at, "/")
		readOnly := at.Kind == executor.ReadOnly || at.Kind == executor.Data
		p.mounts = append(p.mounts, corev1.VolumeMount{Name: volume, SubPath: sub, MountPath: at.Target, ReadOnly: readOnly})
	}
	return p, nil
}

func (e *Executor) volume(name string, medium corev1.StorageMedium, bytes int64) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: medium, SizeLimit: resource.NewQuantity(bytes, resource.BinarySI),
	}}}
}

// add gives a mount its place.
func (e *Executor) add(p *plan, m executor.Mount, mode fs.FileMode) error {
	at := place{Mount: m, mode: mode}
	switch m.Kind {
	case executor.Data:
		at.at = fmt.Sprintf("%s/%d", secrets, len(p.places))
	case executor.Tmpfs:
		size := m.Size
		if size == 0 {
			size = e.opt.TmpfsBytes
		}
		name := fmt.Sprintf("memory-%d", len(p.volumes))
		p.volumes = append(p.volumes, e.volume(name, corev1.StorageMediumMemory, size))
		// The volume itself is the kubelet's, a folder in it the step's.
		at.at = name + "/d"
	default:
		at.at = fmt.Sprintf("%s/%d", disk, len(p.places))
		st, err := os.Stat(m.Source)
		if err != nil {
			return fault.New(fault.NotFound, "mount", m.Source, err)
		}
		if at.file = !st.IsDir(); at.file && (m.Kind == executor.ReadWrite || !st.Mode().IsRegular()) {
			return fault.Newf(fault.Usage, "mount", m.Source, "only a folder, or a file to read, can be mounted")
		}
		if m.Kind == executor.ReadWrite {
			p.returned = append(p.returned, at)
		}
	}
	p.places = append(p.places, at)
	return nil
}

// send writes all that the step is given as a tar.
func (p *plan) send(ctx context.Context, packer *tree.Packer) error {
	for _, at := range p.places {
		if err := at.send(packer); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.New(fault.Failed, "send to the step", cmp.Or(at.Source, at.Target), err)
		}
	}
	for i, inner := range p.places {
		if err := p.point(packer, inner, p.places[:i]); err != nil {
			return fault.New(fault.Failed, "make mount point", inner.Target, err)
		}
	}
	return packer.Close()
}

func (at place) send(packer *tree.Packer) error {
	switch {
	case at.Kind == executor.Data:
		return packer.Data(at.at, 0o400, at.Content)
	case at.Kind == executor.Tmpfs:
		return packer.Dir(at.at, at.mode)
	}
	source, err := filepath.EvalSymlinks(at.Source)
	if err != nil {
		return err
	}
	if at.file {
		root, err := os.OpenRoot(filepath.Dir(source))
		if err != nil {
			return err
		}
		defer root.Close()
		return packer.File(at.at, root, filepath.Base(source))
	}
	root, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer root.Close()
	return packer.Folder(at.at, root)
}

// point makes the mount point of one mount in another, which may not be writable when the
// kubelet would have it made.
func (p *plan) point(packer *tree.Packer, inner place, outer []place) error {
	var over *place
	for i, at := range outer { // sorted: the last is the innermost
		if strings.HasPrefix(inner.Target, at.Target+"/") {
			over = &outer[i]
		}
	}
	if over == nil || over.file || over.Kind == executor.Data {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(inner.Target, over.Target+"/"), "/")
	for n := range parts {
		name := path.Join(parts[:n+1]...)
		there, err := over.holds(name)
		switch {
		case err != nil:
			return err
		case there: // the kubelet mounts on what is there, or says why it cannot
		case n == len(parts)-1 && (inner.file || inner.Kind == executor.Data):
			err = packer.Data(path.Join(over.at, name), 0o644, nil)
		default:
			err = packer.Dir(path.Join(over.at, name), 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds says whether a folder of the machine has something of that name.
func (at place) holds(name string) (bool, error) {
	if at.Source == "" {
		return false, nil
	}
	root, err := os.OpenRoot(at.Source)
	if err != nil {
		return false, err
	}
	defer root.Close()
	_, err = root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
