package remote

import "context"

// Holder is an endpoint that can keep a version readable though its item is replaced, moved or deleted. Endpoints need not
// be one.
type Holder interface {
	// Hold keeps the content v of an item readable under any id, by Read with that v, until release is called. An empty v
	// takes what is there. It returns the item as it was when it was taken hold of, ErrChanged if its content is another,
	// ErrUnsupported if nothing can be held. What is written to in place is lost all the same.
	Hold(ctx context.Context, id ItemID, v Content) (e Entry, release func(), err error)
}
