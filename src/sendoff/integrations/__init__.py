"""
One thin module per framework, with the same verbs in each.

`install(app, dispatcher, *, context=None, client_address=False)` starts the dispatcher with the
app, closes it when the app stops, and binds for each request (or task) what `context` says of it;
`dispatcher_of` finds the dispatcher again from the app or a request. No logic lives here, and a
module imports its framework only when it is imported itself.
"""
