// Makes subscriptions to Tandem survive a broken connection: wraps a client of graphql-ws (over WebSocket) or graphql-sse
// (over server-sent events). Both repeat the same request after a reconnect; this keeps the last cursor in its variable
// `after`, so that the request goes on where the last one ended: nothing is missed, nothing comes twice.
//
//   const client = resume(createClient({ url, connectionParams }), { onExpired: (oldest) => reloadEverything(oldest) });
//   client.subscribe({ query: 'subscription ($after: EventCursor) { events(after: $after) { … } }' }, sink);
//
// The document declares `$after: EventCursor` and passes it to its field. Queries and mutations pass unchanged.

/** What is asked for. */
export interface Payload {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
  extensions?: Record<string, unknown> | null;
}

/** What comes, as far as it matters here. */
interface Result {
  data?: unknown;
  errors?: ReadonlyArray<{ extensions?: Record<string, unknown> }>;
  extensions?: Record<string, unknown>;
}

/** Where it goes. */
export interface Sink<T = unknown> {
  next(value: T): void;
  error(error: unknown): void;
  complete(): void;
}

/** What graphql-ws and graphql-sse have in common. */
export interface Client {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  subscribe(payload: any, sink: any): () => void;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  iterate(payload: any): AsyncIterableIterator<any>;
}

export interface ResumeOptions {
  /** The place to go on from is no longer kept: read the present state anew. Called with the oldest place that is left,
   *  just before the subscription ends with the error CURSOR_EXPIRED. */
  onExpired?: (oldestCursor: string | undefined, payload: Payload) => void;
  /** The place that is reached: keep it to go on from after a restart of your own. */
  onCursor?: (cursor: string, payload: Payload) => void;
}

/** The same client, whose subscriptions go on where they were cut. */
export function resume<C extends Client>(client: C, options: ResumeOptions = {}): C {
  const resumes = (payload: Payload) => /\$after\b/.test(payload.query);
  // Both libraries write this very object anew for each connection. Heartbeats come as results; they end in `taken`.
  const prepare = (payload: Payload) => ({
    ...payload,
    variables: { ...payload.variables },
    extensions: { ...payload.extensions, heartbeat: true },
  });
  const failed = (errors: unknown, payload: Payload) => {
    const expired = Array.isArray(errors) && errors.find((e) => e?.extensions?.code === 'CURSOR_EXPIRED');
    if (expired) options.onExpired?.(expired.extensions.oldestCursor, payload);
  };
  const taken = (result: Result, request: ReturnType<typeof prepare>, payload: Payload) => {
    const { cursor, heartbeat } = result.extensions ?? {};
    failed(result.errors, payload);
    if (typeof cursor === 'string') {
      request.variables.after = cursor;
      options.onCursor?.(cursor, payload);
    }
    return !heartbeat;
  };
  const subscribe = (payload: Payload, sink: Sink<Result>) => {
    if (!resumes(payload)) return client.subscribe(payload, sink);
    const request = prepare(payload);
    return client.subscribe(request, {
      next: (result: Result) => void (taken(result, request, payload) && sink.next(result)),
      error: (error: unknown) => (failed(error, payload), sink.error(error)),
      complete: () => sink.complete(),
    });
  };
  const iterate = async function* (payload: Payload) {
    const request = resumes(payload) ? prepare(payload) : undefined;
    for await (const result of client.iterate(request ?? payload))
      if (!request || taken(result, request, payload)) yield result;
  };
  return { ...client, subscribe, iterate };
}
