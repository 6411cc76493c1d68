// Types for what Monaco reads from the global scope; its own declaration comes only with the whole editor.
declare var MonacoEnvironment: { getWorker: (workerId: string, label: string) => Worker };
