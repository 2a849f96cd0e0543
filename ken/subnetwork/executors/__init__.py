"""Work given to other processes: any executor of `concurrent.futures`, Dask, submitit.

engines       what is asked of each kind of executor, in one form
calls         many calls of one function: in any order, tried again, within a time limit
groups        work on tensors, some of them in each call
own_workers   processes of one's own, or the scheduler that is named: for the command line
freed_memory  memory that is freed stays with a worker while it is at work
link          where the work can be looked on at, said once in a notebook

Only what JSON can hold passes to the workers and back; what is large lies on a disk that all of them share.
"""
