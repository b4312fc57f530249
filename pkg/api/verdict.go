package api

// The verdicts of a trace and of a log event.
const (
	Allowed = "allowed"
	Denied  = "denied"
)
