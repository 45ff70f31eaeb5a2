"""Jobs and the batches made of them: whose run next, which together, how long they take, what follows. All pure."""
