package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"vdfs/cmd/control"
	"vdfs/syncer"
)

func (a *app) queue() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Show the changes that are on their way",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runQueue(cmd.Context(), "", asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (a *app) errors() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "errors",
		Short: "Show what is stuck, and why",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runQueue(cmd.Context(), "1", asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// allItems reads the queue page by page.
func allItems(ctx context.Context, client *control.Client, stuck string) ([]control.QueueItem, error) {
	items := []control.QueueItem{}
	for after := int64(0); ; {
		page, err := control.Get[[]control.QueueItem](ctx, client, "/v1/queue"+control.Query("stuck", stuck, "after", strconv.FormatInt(after, 10)))
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return items, nil
		}
		items = append(items, page...)
		after = page[len(page)-1].ID
	}
}

func (a *app) runQueue(ctx context.Context, stuck string, asJSON bool) error {
	client, err := a.own(ctx)
	if err != nil {
		return err
	}
	items, err := allItems(ctx, client, stuck)
	if err != nil {
		return err
	}
	if stuck != "" {
		damaged, err := a.damages(ctx, client)
		if err != nil {
			return err
		}
		items = append(items, damaged...)
	}
	if asJSON {
		return a.printJSON(items)
	}
	if len(items) == 0 {
		a.say("nothing")
		return nil
	}
	t := table{colour: a.heading(-1)}
	t.add("ID", "CONDUIT", "FROM", "OPERATION", "STATUS", "AGE", "TRIES", "PATH")
	for _, i := range items {
		t.add(fmt.Sprint(i.ID), i.Conduit, i.Origin, i.Operation, i.Status, span(a.Now().Sub(i.Created)), fmt.Sprint(i.Attempts), a.shown(string(i.Path)))
		if i.Error == "" {
			continue
		}
		next := ""
		if i.Next != nil {
			next = ", again " + ago(a.Now(), *i.Next)
		}
		why := i.Error
		if text := syncer.Condition(i.Condition).Text(); text != "" {
			why = text + ": " + why
		}
		t.add("", "", "", "", "", "", "", "  "+why+next)
	}
	return a.print(t.String())
}
