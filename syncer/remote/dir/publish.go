package dir

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vdfs/internal/fault"
	"vdfs/syncer/remote"
)

// publishNew gives a temporary file a free name in the tree. The directory is not durable yet.
func (d *Endpoint) publishNew(ctx context.Context, r dirFD, t spot, tmp *temp) error {
	name := func() error { return d.renameFree(tmp.at.fd, tmp.name, t.dir.fd, t.leaf) }
	if tmp.name == "" {
		name = func() error {
			return unix.Linkat(unix.AT_FDCWD, procPath(tmp.fd), t.dir.fd, t.leaf, unix.AT_SYMLINK_FOLLOW)
		}
	}
	change := func() error { return d.lifted(r, mayChange, name, t.held()) }
	var err error
	if tmp.name == "" || d.can.noreplace || d.can.hardlink {
		err = change()
	} else { // checked and then renamed: at least not by two sessions at once
		err = d.exclusive(ctx, r, change)
	}
	if errors.Is(err, unix.EINVAL) {
		err = remote.ErrName // a character that this file system does not take
	}
	if err != nil {
		return err
	}
	tmp.name = ""
	return fault.Point(faultPublished)
}

// settle makes changed directories durable. The change itself has been made, so
// a failure leaves its outcome unknown.
func (d *Endpoint) settle(fds ...int) error {
	if err := d.names.commit(fds...); err != nil {
		return fmt.Errorf("sync directory: %w: %w", remote.ErrUnknown, err)
	}
	return nil
}

// publishOver puts a temporary file in the place of the one that pre names; the
// old one goes to the trash. Both directories are not durable yet.
func (d *Endpoint) publishOver(ctx context.Context, r dirFD, t *spot, tmp *temp, pre remote.Pre) (err error) {
	t.trash, err = d.inTrash(ctx, r, t.parent, func(trash dirFD) error {
		old, err := d.expect(t.dir.fd, t.parent, t.leaf, pre)
		if errors.Is(err, unix.ENOENT) {
			return remote.ErrPrecondition // the file to replace is gone: nothing is created
		}
		if err != nil {
			return err
		}
		t.old = old
		over := d.renameOver
		if d.can.exchange {
			over = d.exchangeOver
		} else if d.can.hardlink {
			over = d.linkOver
		}
		return d.lifted(r, mayChange, func() error { return over(*t, tmp, trash.fd, pre.Force) }, t.held())
	})
	return err
}

// intoSlot gives a temporary file a name in the trash directory, from where it
// can be renamed or exchanged.
func (d *Endpoint) intoSlot(tmp *temp, leaf string, trash int) (string, error) {
	if tmp.name != "" {
		name, err := d.intoTrash(tmp.at.fd, tmp.name, leaf, trash, replaced)
		if err == nil {
			tmp.name = ""
		}
		return name, err
	}
	for try := range maxSlots {
		name := d.slot(leaf, replaced, try)
		err := unix.Linkat(unix.AT_FDCWD, procPath(tmp.fd), trash, name, unix.AT_SYMLINK_FOLLOW)
		if !errors.Is(err, unix.EEXIST) {
			return name, err
		}
	}
	return "", unix.EEXIST
}

// exchangeOver exchanges the new file, in the trash, with the old one, and
// looks at what came out. Whatever another program does meanwhile, each version
// ends up in the tree or in the trash.
func (d *Endpoint) exchangeOver(t spot, tmp *temp, trash int, force bool) error {
	slot, err := d.intoSlot(tmp, t.leaf, trash)
	if err != nil {
		return err
	}
	if err := fault.Point(faultSlotted); err != nil {
		return errors.Join(err, d.dropOwn(trash, slot, tmp))
	}
	swap := func() error {
		return retry(func() error { return unix.Renameat2(trash, slot, t.dir.fd, t.leaf, unix.RENAME_EXCHANGE) })
	}
	if err := swap(); err != nil {
		if rerr := d.dropOwn(trash, slot, tmp); rerr != nil {
			return rerr
		}
		if errors.Is(err, unix.ENOENT) {
			return remote.ErrPrecondition
		}
		return err
	}
	out, err := d.factsAt(trash, slot)
	if err == nil {
		err = fault.Point(faultExchanged)
	}
	if err != nil {
		return fmt.Errorf("look at replaced file: %w: %w", remote.ErrUnknown, err)
	}
	if force || t.old.sameBytes(out) {
		return nil
	}
	if err := swap(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("undo replace: %w: %w", remote.ErrUnknown, err)
	}
	// When the name is gone meanwhile, their version stays in the trash.
	if err := d.dropOwn(trash, slot, tmp); err != nil {
		return err
	}
	return remote.ErrPrecondition
}

// dropOwn removes a name in the trash if it is that of our own unpublished file.
func (d *Endpoint) dropOwn(trash int, slot string, tmp *temp) error {
	f, err := d.factsAt(trash, slot)
	if err == nil && f.ino == tmp.facts.ino && f.dev == tmp.facts.dev {
		err = unix.Unlinkat(trash, slot, 0)
	}
	return err
}

// linkOver is exchangeOver without RENAME_EXCHANGE: the old file gets a second
// name in the trash, then the new one is renamed over it. A version that another
// program renames into place between the two is lost (Level Window); what it
// writes in place is not.
func (d *Endpoint) linkOver(t spot, tmp *temp, trash int, force bool) error {
	slot := ""
	for try := 0; ; try++ {
		slot = d.slot(t.leaf, replaced, try)
		err := unix.Linkat(t.dir.fd, t.leaf, trash, slot, 0)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EEXIST) || try == maxSlots {
			return err
		}
	}
	old, err := d.factsAt(trash, slot)
	if err == nil && !force && !t.old.sameBytes(old) {
		err = remote.ErrPrecondition
	}
	fresh := ""
	if err == nil {
		fresh, err = d.intoSlot(tmp, t.leaf, trash)
	}
	if err == nil {
		err = fault.Point(faultSlotted)
	}
	if err != nil {
		return errors.Join(err, unix.Unlinkat(trash, slot, 0))
	}
	if err := retry(func() error { return unix.Renameat(trash, fresh, t.dir.fd, t.leaf) }); err != nil {
		return err
	}
	return fault.Point(faultExchanged)
}

// renameOver is the last resort: the old file is moved to the trash, looked at,
// and the new one takes its name. In between the name is free (AtomicPut is off).
func (d *Endpoint) renameOver(t spot, tmp *temp, trash int, force bool) error {
	slot, err := d.intoTrash(t.dir.fd, t.leaf, t.leaf, trash, replaced)
	if err != nil {
		return err
	}
	if err := fault.Point(faultSlotted); err != nil {
		return errors.Join(err, d.renameFree(trash, slot, t.dir.fd, t.leaf))
	}
	out, err := d.factsAt(trash, slot)
	if err != nil || !force && !t.old.sameBytes(out) {
		return errors.Join(remote.ErrPrecondition, err, d.renameFree(trash, slot, t.dir.fd, t.leaf))
	}
	if err := d.renameFree(tmp.at.fd, tmp.name, t.dir.fd, t.leaf); err != nil {
		return errors.Join(err, d.renameFree(trash, slot, t.dir.fd, t.leaf))
	}
	tmp.name = ""
	return fault.Point(faultExchanged)
}
