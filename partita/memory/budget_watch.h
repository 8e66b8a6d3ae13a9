// Tests only: every Budget that this process makes while a BudgetWatch lives is shown to it, so that a test
// reaches the budgets that a session makes inside, and has them refuse (FailNthAllocation).
//
// One watch at a time. The function is called from the thread that makes the budget, before anybody uses it.
#pragma once

#include <functional>
#include <memory>

namespace partita {

class Budget;

class BudgetWatch {
 public:
  using OnMake = std::function<void(const std::shared_ptr<Budget>&)>;
  explicit BudgetWatch(OnMake on_make);
  ~BudgetWatch();  // no budget may be in the making
  BudgetWatch(const BudgetWatch&) = delete;
  BudgetWatch& operator=(const BudgetWatch&) = delete;

 private:
  OnMake on_make_;
};

}  // namespace partita
