#include "components/python/process_pool.h"

#include "components/python/process_loop.h"

namespace partita {

ProcessPool::ProcessPool(ProcessPoolOptions options)
    : loop_(std::make_shared<ProcessLoop>(std::move(options))) {
  loop_->Start();
}
ProcessPool::~ProcessPool() { loop_->Stop(); }
void ProcessPool::Submit(WorkerJob job) { loop_->Submit(std::move(job)); }
SegmentPool* ProcessPool::segments() const { return loop_->segments(); }
std::vector<InFlight> ProcessPool::Slowest(int n) const { return loop_->Slowest(n); }

}  // namespace partita
