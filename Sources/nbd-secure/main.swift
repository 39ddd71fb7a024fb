// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
struct Main: ParsableCommand { }
Main.main()
