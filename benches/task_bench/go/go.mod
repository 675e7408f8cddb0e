module task_bench

go 1.19
